"""Real programs for the tests: started on loopback ports, stopped by the fixture that started them."""

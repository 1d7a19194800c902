"""Python wheels as data: which wheel serves which platform, and its files as a layer."""

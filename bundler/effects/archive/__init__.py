"""The bundle as a file: read in place, written, hashed and signed, in one tar or in several volumes."""

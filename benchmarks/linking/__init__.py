"""Kanal's linker beside datasketch and Splink, on the same refined reports."""

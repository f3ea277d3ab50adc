"""What connects this library with others; each module needs the extra of its name."""

"""Other libraries' own names and conventions, one module each."""

"""A plan as code or configuration for another library, one module for each."""

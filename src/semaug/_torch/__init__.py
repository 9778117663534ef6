"""Private helpers of the core, on torch alone."""

"""Many runs: side by side, on a cluster, and the search over options."""

"""Everything on one machine: production's own processes on loopback, with simulated runs."""

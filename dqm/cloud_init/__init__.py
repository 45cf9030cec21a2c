"""`dqm cloud-init`: fills in the shipped user-data of the two machines, and checks the result."""

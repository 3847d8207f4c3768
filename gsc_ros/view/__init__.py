"""The operator's page: what is on the screen, how far to trust it, and what may be asked of the robot."""

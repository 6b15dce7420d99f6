"""Time, disk and devices: the only floor that knows any of them."""

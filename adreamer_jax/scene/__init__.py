"""What the world is: field, bones, skinning, warp, root pose, skeleton."""

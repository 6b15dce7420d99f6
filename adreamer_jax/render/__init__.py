"""How a world becomes a picture; rooms hand their functions in."""

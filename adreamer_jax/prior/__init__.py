"""What a picture ought to look like: diffusion and vision networks, their loading."""

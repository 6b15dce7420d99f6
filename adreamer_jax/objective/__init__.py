"""What is asked of the model: one function a term."""

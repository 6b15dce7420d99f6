"""AnimatableDreamer in JAX: a clip becomes an animatable model, a prompt a new one."""

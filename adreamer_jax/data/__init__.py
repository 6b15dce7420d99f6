"""The world outside: clips, flow, features, procedural animals."""

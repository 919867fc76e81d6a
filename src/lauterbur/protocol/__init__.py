"""What the operator asks for: the validated protocol, and the library of named ones."""

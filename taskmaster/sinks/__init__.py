"""Where results go: one small file for each kind of sink."""

"""From the text that names a function to the function itself."""

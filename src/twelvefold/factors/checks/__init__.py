"""One module for each factor, with one function that checks it."""

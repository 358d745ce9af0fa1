"""The experiments of the paper, as published and as they should be, and what follows from them."""

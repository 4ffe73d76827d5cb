"""Networks that blocks are put into, with the paper's places for them."""

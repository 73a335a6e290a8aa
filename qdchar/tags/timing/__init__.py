"""The pulse clock and the electronic delay, from the tags."""

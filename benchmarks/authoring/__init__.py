"""How good authoring and repair are: requests, faulty configs and what becomes of them."""

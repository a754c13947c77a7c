"""How each kind of sink is sent a message. A module makes the form that its kind takes, which is pure; only `email` and `http` use the network."""

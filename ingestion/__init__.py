"""Files -> `images`, `annotations`, `categories`: the only stage that reads the outside world."""

"""From capture files to what tshark says of them."""

"""What a store acknowledged and has lost all the same: found by the shadow, and sent again."""

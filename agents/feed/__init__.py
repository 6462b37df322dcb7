"""The load that drills write: a market feed that numbers its rows. Nothing in production needs it."""

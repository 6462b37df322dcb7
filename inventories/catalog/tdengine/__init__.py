"""The catalogue as TDengine's statements and options."""

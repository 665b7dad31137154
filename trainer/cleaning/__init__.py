"""Pictures that should not be there: which they are, and a trash folder that gives them back."""

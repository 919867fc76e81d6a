"""What lies in the bore: anatomy, and its tissues at this field."""

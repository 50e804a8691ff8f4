"""What a trained model is for: generating similar sentences."""

"""What is seen: bars, pictures, charts, TensorBoard's log. It takes numbers, and knows nothing of the rest."""

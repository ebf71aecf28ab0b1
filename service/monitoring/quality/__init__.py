"""How good a model is, from sums and buckets of its predictions and of those that were clicked."""

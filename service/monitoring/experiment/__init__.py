"""What an A/B test says, from counts by cells of users: looked at as often as anyone likes."""

"""What an operator deploys: generated from the code that it watches."""

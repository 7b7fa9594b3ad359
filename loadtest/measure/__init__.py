"""What is measured during a run, in forms that processes can send each other and add up."""

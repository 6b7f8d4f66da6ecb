"""What happens to examples between their source and the network, whatever their modality."""

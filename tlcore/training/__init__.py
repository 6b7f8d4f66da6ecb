"""What lies above the line: trained, in the only loop there is."""

"""What a release is made of: lock file, licences, wheels, versions of others that it works with."""

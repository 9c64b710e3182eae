"""The network for other people's software: the BioImage Model Zoo, a web page, C++."""

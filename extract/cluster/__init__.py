"""The engine of many machines: Ray decodes on some of them and runs the networks on others."""

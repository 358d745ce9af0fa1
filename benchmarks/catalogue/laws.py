"""The task laws that come with the benchmark: one line each. Nothing is imported until a law is used."""

from benchmarks.catalogue.registry import LAWS

LAWS.add("isotropic", "benchmarks.tasks.gaussian:Isotropic", "x ~ N(0, I), w* ~ N(0, I)")
LAWS.add("anisotropic", "benchmarks.tasks.gaussian:Anisotropic", "x ~ N(0, Σ), w* ~ N(0, Σ⁻¹), chosen spectrum")
LAWS.add("ood_variance", "benchmarks.tasks.shift:OODVariance", "anisotropic, x and w* scaled to a given variance")
LAWS.add("gmm", "benchmarks.tasks.mixture:GaussianMixture", "Gaussian mixture, a component for each task or each point")
LAWS.add("sphere", "benchmarks.tasks.radial:Sphere", "x uniform on the unit sphere, w* ~ N(0, I)")
LAWS.add("gamma", "benchmarks.tasks.radial:Gamma", "heavy tails: squared radius of x Gamma distributed, w* ~ N(0, I)")
LAWS.add("real", "benchmarks.tasks.real:RealData", "episodes of rows of a real data set, or of a CSV file of yours")

module trail

go 1.19

require weftworker v0.0.0

replace weftworker => ../../../examples/workers/go

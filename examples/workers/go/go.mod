module weftworker

go 1.19

module purlin.dev/plugin

go 1.24

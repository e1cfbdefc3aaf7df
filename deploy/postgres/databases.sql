-- One database each: DuckLake reads the whole of its own when it is attached.
create database prefect;
create database mlflow;
create database lake;

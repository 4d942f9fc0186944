create table if not exists support_orders (
  number integer primary key,
  customer varchar(255) not null,
  item varchar(100) not null,
  paid_cents integer not null,
  refunded_cents integer not null,
  parcel varchar(40) not null
);
create table if not exists support_articles (
  name varchar(100) primary key,
  kind varchar(40) not null
);
create table if not exists support_invoices (
  number integer primary key,
  customer varchar(255) not null,
  cents integer not null,
  paid integer not null
);
create table if not exists support_reminders (
  customer varchar(255) not null,
  note varchar(255) not null,
  primary key (customer, note)
);

-- The retail shop, for MySQL, MariaDB and SQLite. A document is one row and the rows below it:
-- a list has a position column, because SQL rows have no order.
--
-- Ids are compared byte by byte, including case and trailing spaces. This is the default of SQLite;
-- MySQL reads the first of the two comments after each table, MariaDB the second.
--
-- Money is a double, as in the documents. A column "is_int" distinguishes 60 and 60.0.

create table if not exists users (
  user_id              varchar(64)  not null primary key,
  position             integer      not null,
  first_name           varchar(100) not null,
  last_name            varchar(100) not null,
  first_name_lower     varchar(100) not null,
  last_name_lower      varchar(100) not null,
  email                varchar(250) not null,
  email_lower          varchar(250) not null,
  address1             text         not null,
  address2             text         not null,
  city                 text         not null,
  state                text         not null,
  country              text         not null,
  zip                  text         not null,
  state_before_country boolean      not null,
  unique (email_lower, position),
  unique (last_name_lower, first_name_lower, position)
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

create table if not exists payment_methods (
  user_id           varchar(64) not null,
  payment_method_id varchar(64) not null,
  position          integer     not null,
  source            varchar(20) not null,
  brand             varchar(20),
  last_four         varchar(4),
  balance           double,
  balance_is_int    boolean,
  primary key (user_id, payment_method_id),
  foreign key (user_id) references users (user_id)
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

create table if not exists products (
  product_id varchar(32)  not null primary key,
  name       varchar(100) not null
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

create table if not exists variants (
  item_id    varchar(32) not null primary key,
  product_id varchar(32) not null,
  position   integer     not null,
  available  boolean     not null,
  price      double      not null,
  unique (product_id, position),
  foreign key (product_id) references products (product_id)
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

create table if not exists variant_options (
  item_id  varchar(32)  not null,
  position integer      not null,
  name     varchar(100) not null,
  value    varchar(100) not null,
  primary key (item_id, position),
  foreign key (item_id) references variants (item_id)
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

create table if not exists orders (
  order_id                         varchar(32) not null primary key,
  user_id                          varchar(64) not null,
  position                         integer     not null,
  status                           varchar(32) not null,
  address1                         text        not null,
  address2                         text        not null,
  city                             text        not null,
  state                            text        not null,
  country                          text        not null,
  zip                              text        not null,
  state_before_country             boolean     not null,
  cancel_reason                    varchar(32),
  return_payment_method_id         varchar(64),
  exchange_payment_method_id       varchar(64),
  exchange_price_difference        double,
  exchange_price_difference_is_int boolean,
  unique (user_id, position),
  foreign key (user_id) references users (user_id)
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

create table if not exists order_items (
  order_id   varchar(32)  not null,
  position   integer      not null,
  name       varchar(100) not null,
  product_id varchar(32)  not null,
  item_id    varchar(32)  not null,
  price      double       not null,
  primary key (order_id, position),
  foreign key (order_id) references orders (order_id)
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

-- The options at the time of the order, independent of later changes of the variant.
create table if not exists order_item_options (
  order_id      varchar(32)  not null,
  item_position integer      not null,
  position      integer      not null,
  name          varchar(100) not null,
  value         varchar(100) not null,
  primary key (order_id, item_position, position),
  foreign key (order_id, item_position) references order_items (order_id, position)
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

create table if not exists payment_history (
  order_id          varchar(32) not null,
  position          integer     not null,
  transaction_type  varchar(10) not null,
  amount            double      not null,
  amount_is_int     boolean     not null,
  payment_method_id varchar(64) not null,
  primary key (order_id, position),
  foreign key (order_id) references orders (order_id)
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

create table if not exists fulfillments (
  order_id    varchar(32) not null,
  position    integer     not null,
  tracking_id varchar(32) not null,
  primary key (order_id, position),
  foreign key (order_id) references orders (order_id)
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

create table if not exists fulfillment_items (
  order_id             varchar(32) not null,
  fulfillment_position integer     not null,
  position             integer     not null,
  item_id              varchar(32) not null,
  primary key (order_id, fulfillment_position, position),
  foreign key (order_id, fulfillment_position) references fulfillments (order_id, position)
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

-- Items that a customer returns or requests in exchange. "request" names the document's list.
create table if not exists requested_items (
  order_id varchar(32) not null,
  request  varchar(20) not null,
  position integer     not null,
  item_id  varchar(32) not null,
  primary key (order_id, request, position),
  foreign key (order_id) references orders (order_id)
) /*!80017 default collate utf8mb4_0900_bin */ /*M! default collate utf8mb4_nopad_bin */;

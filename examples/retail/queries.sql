-- user_by_email: the first user with this address; no row means none
select user_id from users where email_lower = :email_lower order by position limit 1

-- user_by_name_zip: the first user with this name and zip code; no row means none
select user_id from users
 where last_name_lower = :last_name_lower and first_name_lower = :first_name_lower and zip = :zip
 order by position limit 1

-- user: no row means there is no such user
select first_name, last_name, email,
       address1, address2, city, state, country, zip, state_before_country
  from users where user_id = :user_id

-- order_ids: of one user, in the order of the user's document
select order_id from orders where user_id = :user_id order by position

-- move_user: 0 rows means there is no such user
update users
   set address1 = :address1, address2 = :address2, city = :city, state = :state,
       country = :country, zip = :zip, state_before_country = true
 where user_id = :user_id

-- payment_methods: of one user, in the order of the user's document
select payment_method_id, source, brand, last_four, balance, balance_is_int
  from payment_methods where user_id = :user_id order by position

-- lock_payment_methods: all of a user in one statement, until the commit; otherwise two calls could deadlock
update payment_methods set balance = balance where user_id = :user_id

-- set_balance: 0 rows means the user has no such payment method
update payment_methods set balance = :balance, balance_is_int = :is_int
 where user_id = :user_id and payment_method_id = :payment_method_id

-- product_types: by name, in the order of code points
select name, product_id from products order by name

-- product: a row for each option of each variant; no row means there is no such product
select p.name, v.item_id, v.available, v.price, o.name as option_name, o.value as option_value
  from products p
  join variants v on v.product_id = p.product_id
  left join variant_options o on o.item_id = v.item_id
 where p.product_id = :product_id
 order by v.position, o.position

-- price_if_available: no row means the product has no such variant, or none is in stock
select price from variants
 where product_id = :product_id and item_id = :item_id and available = true

-- order: no row means there is no such order
select order_id, user_id, status, address1, address2, city, state, country, zip,
       state_before_country, cancel_reason, return_payment_method_id, exchange_payment_method_id,
       exchange_price_difference, exchange_price_difference_is_int
  from orders where order_id = :order_id

-- take_order: changes the status and locks the order until the commit; 0 rows means another status, or no such order
update orders set status = :becomes where order_id = :order_id and status = :status

-- owner: no row means there is no such order
select user_id from orders where order_id = :order_id

-- order_lines: a row for each option of each line
select i.position, i.name, i.product_id, i.item_id, i.price,
       o.name as option_name, o.value as option_value
  from order_items i
  left join order_item_options o on o.order_id = i.order_id and o.item_position = i.position
 where i.order_id = :order_id
 order by i.position, o.position

-- fulfillments: a row for each item of each parcel
select f.position, f.tracking_id, i.item_id
  from fulfillments f
  join fulfillment_items i
    on i.order_id = f.order_id and i.fulfillment_position = f.position
 where f.order_id = :order_id
 order by f.position, i.position

-- payments: of one order, oldest first
select transaction_type, amount, amount_is_int, payment_method_id
  from payment_history where order_id = :order_id order by position

-- requested_items: one list of one order
select item_id from requested_items
 where order_id = :order_id and request = :request order by position

-- add_payment
insert into payment_history
       (order_id, position, transaction_type, amount, amount_is_int, payment_method_id)
values (:order_id, :position, :transaction_type, :amount, :is_int, :payment_method_id)

-- set_cancel_reason
update orders set cancel_reason = :reason where order_id = :order_id

-- redirect_order
update orders
   set address1 = :address1, address2 = :address2, city = :city, state = :state,
       country = :country, zip = :zip, state_before_country = true
 where order_id = :order_id

-- swap_line: the line keeps its position and name, and gets the variant's item and price
update order_items
   set item_id = :new_item_id, price = (select price from variants where item_id = :new_item_id)
 where order_id = :order_id and position = :position

-- drop_options
delete from order_item_options where order_id = :order_id and item_position = :position

-- copy_options
insert into order_item_options (order_id, item_position, position, name, value)
select :order_id, :position, position, name, value from variant_options where item_id = :item_id

-- request_item
insert into requested_items (order_id, request, position, item_id)
values (:order_id, :request, :position, :item_id)

-- request_return
update orders set return_payment_method_id = :payment_method_id where order_id = :order_id

-- request_exchange
update orders
   set exchange_payment_method_id = :payment_method_id, exchange_price_difference = :difference,
       exchange_price_difference_is_int = :is_int
 where order_id = :order_id
